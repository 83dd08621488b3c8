"""Commands on channels: move, gate, watch and search them."""
