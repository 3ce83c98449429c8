"""Figures: functions that take data and return a matplotlib figure, all in one style."""
