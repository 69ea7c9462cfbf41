"""Each performance promise of keepfit as a command that runs keepfit and the peer side by side."""
