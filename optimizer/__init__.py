"""Offline: log → evidence → proposal → applied → verified."""
