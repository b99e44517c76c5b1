/** What the page uses of it, for `make test-page`. */
export interface Signal<T> { value: T; subscribe(listener: (value: T) => void): () => void; }
export declare function signal<T = any>(value: any): Signal<any>;
