"""Pure decisions of the router: facts in, decision out; no clock, no random, no I/O."""
