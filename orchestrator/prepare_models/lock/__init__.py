"""The lock: which bytes a manifest meant when it was locked, and which tools were to convert them."""
