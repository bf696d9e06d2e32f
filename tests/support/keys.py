"""The key that encrypts connection strings in tests."""

from timeseries import generate_key

SECRET_KEY = generate_key()
