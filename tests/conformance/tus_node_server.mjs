// @tus/server with its file store, uploads that expire and a limit: node tus_node_server.mjs PORT DIRECTORY
import { FileStore } from '@tus/file-store'
import { Server } from '@tus/server'

const [port, directory] = process.argv.slice(2)
const datastore = new FileStore({ directory, expirationPeriodInMilliseconds: 3600000 })
new Server({ path: '/files', datastore, maxSize: 1024 ** 4 }).listen({ host: '127.0.0.1', port: Number(port) })
