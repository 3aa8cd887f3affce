// @tus/server with its file store: node tus_node_server.mjs PORT DIRECTORY
import { FileStore } from '@tus/file-store'
import { Server } from '@tus/server'

const [port, directory] = process.argv.slice(2)
new Server({ path: '/files', datastore: new FileStore({ directory }), maxSize: 1024 ** 4 })
  .listen({ host: '127.0.0.1', port: Number(port) })
