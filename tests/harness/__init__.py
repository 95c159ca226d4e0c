"""The test harness: real database servers, real services, real bodies."""
