"""Logs and evaluations that were made elsewhere, brought into the call log."""
