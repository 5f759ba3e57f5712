//! What every backend promises, as one test that each backend runs.
