"""What a cluster needs to run the agent, as objects."""
