/** Who hears of what, by name. */
/** The listeners of a client, or of a world. */
export class Listeners {
    #listeners = new Map();
    /** Adds a listener. Returns what takes it away. */
    add(name, listener) {
        let listeners = this.#listeners.get(name);
        if (listeners === undefined)
            this.#listeners.set(name, (listeners = new Set()));
        listeners.add(listener);
        return () => void listeners.delete(listener);
    }
    /** Calls those who hear of that name, in the order in which they came. */
    emit(name, event) {
        for (const listener of this.#listeners.get(name) ?? []) {
            try {
                listener(event);
            }
            catch (error) {
                // Not the client's to handle: it goes where other faults of the application go.
                queueMicrotask(() => {
                    throw error;
                });
            }
        }
    }
}
