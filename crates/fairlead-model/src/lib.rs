//! Fairlead's words: peers, bindings, flows, questions to the registrar, orders to the relay.
