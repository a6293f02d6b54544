// For pm2: `pm2 start ecosystem.config.cjs`. One instance in fork mode: the daemon has its own cluster.
// `pm2 sendSignal SIGHUP millrace` reloads it and refuses nobody; `pm2 reload` and `pm2 restart` drain it and start it anew.
module.exports = {
  apps: [
    {
      name: 'millrace',
      script: 'dist/index.js',
      cwd: __dirname,
      exec_mode: 'fork',
      instances: 1,
      wait_ready: true,
      listen_timeout: 30000,
      kill_timeout: 30000,
      treekill: false,
    },
  ],
}
