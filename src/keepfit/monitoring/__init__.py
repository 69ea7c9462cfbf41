"""Monitoring: what is known of the training rows, what came since, and what the difference means."""
