/** What the page uses of it, for `make test-page`. */
export declare function html(strings: TemplateStringsArray, ...values: unknown[]): any;
export declare function render(node: unknown, parent: Element | null): void;
export declare function useEffect(effect: () => void | (() => void), inputs?: unknown[]): void;
export declare function useRef<T = any>(value: T | null): { current: T };
export declare function useState<T = any>(value: any): [any, (next: any) => void];
