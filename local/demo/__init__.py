"""The app, played from outside: what a care coordination app asks of the gateway, and the charts it shows."""
