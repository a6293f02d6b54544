import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { startKafka } from '../../../scripts/brokers/kafka.ts'
import type { KafkaConfig } from '../../../src/config/config.ts'
import { openKafkaPublisher } from '../../../src/log/kafka/open.ts'
import { clients, configFor, Heard, publisherFor, readerFor, stamped } from './fixture.ts'

const PASSWORD = 'open-sesame-1'
const WRONG = 'open-barley-2'

const kafka = await startKafka({ sasl: { username: 'ali', password: PASSWORD }, tls: { client: true } })
after(() => kafka.stop())
const { ca, clientCert: cert, clientKey: key } = kafka.certificates!

const mechanisms = ['plain', 'scram-sha-256', 'scram-sha-512'] as const

for (const client of clients) {
  for (const mechanism of mechanisms) {
    test(`${client}: ${mechanism}: the right password lets in`, async (t) => {
      const config = configFor(kafka.saslBrokers, client, {
        kafka: { sasl: { mechanism, username: 'ali', password: PASSWORD } },
      })
      await (await publisherFor(t, config)).publish(0, stamped(0))
      assert.deepEqual(await (await readerFor(t, config)).bounds(), { first: 0, next: 1 })
    })

    test(`${client}: ${mechanism}: a wrong password is told, and not shown`, async () => {
      const config = configFor(kafka.saslBrokers, client, {
        kafka: { sasl: { mechanism, username: 'ali', password: WRONG } },
      })
      const heard = new Heard()
      await assert.rejects(openKafkaPublisher(config, heard), (error: Error) => {
        assert.equal(error.name, 'LogMisconfigured')
        assert.match(error.message, /does not accept the credentials \(log\.kafka\.sasl\)/)
        assert.ok(!JSON.stringify([error.message, error.stack, heard.away]).includes(WRONG))
        return true
      })
    })
  }

  test(`${client}: credentials for a listener that asks for none are told`, async () => {
    const config = configFor(kafka.brokers, client, {
      kafka: { sasl: { mechanism: 'plain', username: 'ali', password: PASSWORD } },
    })
    await assert.rejects(openKafkaPublisher(config, new Heard()), { name: 'LogMisconfigured' })
  })

  test(`${client}: no credentials where they are asked for: it waits, and says what for`, async () => {
    const heard = new Heard()
    const giveUp = new AbortController()
    const opening = openKafkaPublisher(configFor(kafka.saslBrokers, client), heard, { signal: giveUp.signal })
    await heard.until(() => heard.away.length > 0)
    giveUp.abort(new Error('the test is over'))
    await assert.rejects(opening, { message: 'the test is over' })
    assert.equal(heard.away.length, 1)
    assert.match(heard.away[0], /waiting for Kafka: .*127\.0\.0\.1/)
  })

  test(`${client}: TLS with certificates on both sides`, async (t) => {
    const config = configFor(kafka.tlsBrokers, client, { kafka: { tls: { ca, cert, key } } })
    await (await publisherFor(t, config)).publish(0, stamped(0))
    assert.deepEqual(await (await readerFor(t, config)).bounds(), { first: 0, next: 1 })
  })

  const wrongTls: [string, KafkaConfig['tls']][] = [
    ['a CA that nobody told us of', true],
    ['no certificate where one is asked for', { ca }],
  ]
  for (const [what, tls] of wrongTls) {
    test(`${client}: ${what}: told at start`, async () => {
      const config = configFor(kafka.tlsBrokers, client, { kafka: { tls: tls! } })
      await assert.rejects(openKafkaPublisher(config, new Heard()), {
        name: 'LogMisconfigured',
        message: /TLS/,
      })
    })
  }

  test(`${client}: a broker that is not there yet is waited for`, async (t) => {
    await kafka.kill()
    const heard = new Heard()
    const opening = publisherFor(t, configFor(kafka.brokers, client), heard)
    await heard.until(() => heard.away.length > 0)
    assert.match(heard.away[0], /ECONNREFUSED/)
    await kafka.restart()
    const publisher = await opening
    assert.equal(heard.away.length, 1)
    assert.equal(heard.backs, 1)
    await publisher.publish(0, stamped(0))
  })
}
