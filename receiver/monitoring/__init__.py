"""What operators learn of the running service: metrics, health, alarms, explanations."""
