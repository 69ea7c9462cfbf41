"""The web app of the champion, for people. The only folder that knows its framework, NiceGUI."""
