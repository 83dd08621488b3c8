"""Sign what a store holds, and prove who signed it."""
