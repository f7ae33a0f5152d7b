// What the scripts of a page share: plain scripts have no imports.
declare var GAHB: any;
declare function gahbEngine(): any;
declare function gahbMethods(): any;
interface Window {
  gahbLive: any;
  GAHB: any;
}
