"""What would have happened: rules of ``router_core.decide`` over logged calls, vectorised."""
