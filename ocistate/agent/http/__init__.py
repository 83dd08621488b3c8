"""What the agent serves: probes, metrics and webhooks."""
