"""Questions about occupancy and health, answered with pandas DataFrames or Arrow tables."""

from analytics.arrow_client import set_pool_size
from analytics.averages import (
    bucket_averages,
    daily_averages,
    hourly_averages,
    monthly_averages,
    quarter_hourly_averages,
    weekly_averages,
    yearly_averages,
)
from analytics.comparison import compare
from analytics.expectation import expected
from analytics.forecast_errors import backtest
from analytics.health import latest, outages, states, uptime
from analytics.levels import time_above
from analytics.raw_rows import aggregate_rows, events
from analytics.weekdays import peaks, weekday_averages, weekday_profile

__all__ = [
    "aggregate_rows",
    "backtest",
    "bucket_averages",
    "compare",
    "daily_averages",
    "events",
    "expected",
    "hourly_averages",
    "latest",
    "monthly_averages",
    "outages",
    "peaks",
    "quarter_hourly_averages",
    "set_pool_size",
    "states",
    "time_above",
    "uptime",
    "weekday_averages",
    "weekday_profile",
    "weekly_averages",
    "yearly_averages",
]
