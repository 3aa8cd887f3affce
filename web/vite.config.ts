import { defineConfig } from 'vite'

export default defineConfig({
  // Relative addresses: the same build is served under any prefix.
  base: './',
  build: {
    outDir: '../storage_proxy/page',
    emptyOutDir: true,
    target: 'es2022',
    // Everything is a file of its own, so that the page's policy can do without data: for what it runs.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
})
