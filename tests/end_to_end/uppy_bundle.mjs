// What pages usually get from a bundler: bundled by esbuild into the global `Uppy`.
export { default as Uppy } from '@uppy/core'
export { default as Tus } from '@uppy/tus'
