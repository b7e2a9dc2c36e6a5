"""The Secrets of users, and the user that scrapes metrics. Pure."""
