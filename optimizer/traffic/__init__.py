"""The log as the simulations want it."""
