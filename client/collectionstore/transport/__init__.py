"""How answers are got: streams and requests to one member, and what failed of them."""
