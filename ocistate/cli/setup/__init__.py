"""Commands that set things up: the agent, its installation, credentials."""
