"""The laws of mixtures of experts: routers, experts, shared experts."""
