// Takes requests and drops them: what the generator, and uWebSockets.js, can do at most on this machine.

import uWS from 'uWebSockets.js'

const app = uWS.App()
app.post('/v1/events', (res) => {
  res.onAborted(() => {})
  res.onData((_, last) => {
    if (last) res.writeStatus('202 Accepted').end()
  })
})
app.listen('127.0.0.1', 0, (socket) => {
  if (!socket) process.exit(1)
  const http = `http://127.0.0.1:${uWS.us_socket_local_port(socket)}`
  process.stderr.write(`${JSON.stringify({ msg: 'ready', http })}\n`)
})
process.on('SIGTERM', () => process.exit(0))
