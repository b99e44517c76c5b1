/** What the page uses of it, for `make test-page`. */
declare const UPlot: new (options: object, data: unknown[], place: Element) => any;
export default UPlot;
