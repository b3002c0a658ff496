#include "tls/accept.hpp"

#include <utility>

namespace rooster::tls {

Task<Handshake> accept_tls(Stream& stream, const ServerContext& context, Waiter& waiter,
                           TimePoint deadline, std::shared_ptr<const TlsProfile> profile) {
  auto session = context.new_session();
  if (!session) co_return Error(Fault::TlsHandshake, Reached::No, "PT09 " + take_openssl_error());
  stream.secure(std::move(session));
  const PendingHandshake pending(context, *stream.ssl(), stream.fd(), std::move(profile));
  while (true) {
    switch (stream.handshake()) {
      case ReadResult::Status::Some:
        co_return pending.finished();
      case ReadResult::Status::End:
      case ReadResult::Status::Failed:
        co_return pending.failed(HandshakeEnd::Failed);
      case ReadResult::Status::Later:
        break;
    }
    const Interest output = stream.has_pending() ? stream.writable() : Interest{};
    switch (co_await waiter.wait(deadline, stream.readable(), output)) {
      case Woke::Deadline:
        co_return pending.failed(HandshakeEnd::Late);
      case Woke::Interrupted:
        co_return pending.failed(HandshakeEnd::Interrupted);
      case Woke::Ready:
      case Woke::Notified:
        break;
    }
    if (!stream.flush()) co_return pending.failed(HandshakeEnd::Disconnected);
  }
}

}  // namespace rooster::tls
