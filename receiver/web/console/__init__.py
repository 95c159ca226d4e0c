"""The web console under `/ops`: pages rendered here, usable without a script, signed in to with an ops token."""
