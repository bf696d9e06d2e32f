"""Questions about occupancy, answered with pandas DataFrames."""

from analytics.averages import hourly_averages, weekday_averages

__all__ = ["hourly_averages", "weekday_averages"]
