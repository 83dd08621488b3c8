"""What the agent says of itself: logs, Events, counters, reports."""
