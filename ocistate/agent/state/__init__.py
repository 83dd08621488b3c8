"""Where status is kept: the interface, and a state folder."""
