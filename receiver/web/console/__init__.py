"""The web console under `/ops`: pages rendered on the server that work without a script. Operators sign in with an ops token."""
