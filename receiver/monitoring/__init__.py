"""Monitoring of the running service: metrics, health, alarms, and explanations of messages and deliveries."""
