/** Who hears of what, by name. */
type Listener = (event: never) => void;
/** The listeners of a client, or of a world. */
export declare class Listeners {
    #private;
    /** Adds a listener. Returns what takes it away. */
    add(name: string, listener: Listener): () => void;
    /** Calls those who hear of that name, in the order in which they came. */
    emit(name: string, event: unknown): void;
}
export {};
