/** The methods and messages that every server has, with their types: see `docs/protocol.md`. */
export {};
