"""The parts of `autobahn/run`: what is expected, where the suite comes from, how a role is run."""
