"""What each process of the service needs: signals, a bounded stop, background work that goes on."""
