// The call behind `rooster proxy`: CONNECT <name>:<port> to a node's private API, answered by any
// number of 102s that tell how the wake goes, then 200 and raw bytes, or the Fault. Both ends'
// bytes; pure.
#pragma once

#include "core/fault.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::net {

/// The port of the private API at [fdaa:<net>::3].
inline constexpr std::uint16_t kPrivateApiPort = 4280;
inline constexpr std::size_t kMaxConnectHeadBytes = 8 * 1024;
/// The field of a 102 that holds its line for a person.
inline constexpr std::string_view kProgressField = "Rooster-Progress";
/// The field of a refusal that holds its sentence for a person.
inline constexpr std::string_view kDetailField = "Rooster-Detail";
/// Asked with the value "only": wake the target, answer 200 once it is ready, dial nothing, close.
inline constexpr std::string_view kWakeField = "Rooster-Wake";
/// In a 200: the private address that was dialled.
inline constexpr std::string_view kRemoteField = "Rooster-Remote";

/// "db.internal:5432", "[fdaa:0:1::2]:80".
struct ConnectTarget {
  std::string host;  ///< without brackets
  std::uint16_t port = 0;

  static std::optional<ConnectTarget> parse(std::string_view text);
  std::string to_string() const;
  friend bool operator==(const ConnectTarget&, const ConnectTarget&) = default;
};

/// What is asked for.
struct ConnectCall {
  ConnectTarget target;
  bool only_wake = false;
  std::string token;  ///< "": none is sent
};

std::string encode_connect(const ConnectCall& call);
/// Whole heads only: all up to and with the empty line. nullopt: not a CONNECT of this form.
std::optional<ConnectCall> parse_connect(std::string_view head);

/// One line of progress, e.g. "waking db: machine 148e21 starts". Control characters go out as
/// spaces.
std::string encode_progress(std::string_view line);
/// Raw bytes follow. `remote`: where it leads, "" if not known.
std::string encode_connected(std::string_view remote);
/// `detail` "": the fault's hint. `retry_after` 0: none.
std::string encode_connect_refusal(Fault fault, std::string_view detail,
                                   std::chrono::seconds retry_after = {});

/// Why the node said no.
struct ConnectRefusal {
  int status = 0;
  std::string fault;   ///< the token; "" where the answer had none
  std::string detail;  ///< for a person; never empty
};

/// Reads the answer.
class ConnectReply {
 public:
  enum class State : std::uint8_t { Waiting, Connected, Refused };

  /// Takes `bytes`; what follows a 200 stays for take_rest(). nullopt: not an answer of this kind.
  std::optional<State> put(std::string_view bytes);
  State state() const { return state_; }
  /// The progress lines since the last call.
  std::vector<std::string> take_progress();
  const ConnectRefusal& refusal() const { return refusal_; }
  const std::string& remote() const { return remote_; }
  /// After Connected: the first bytes of the other side.
  std::string take_rest();

 private:
  bool take_head(std::string_view head);
  State state_ = State::Waiting;
  std::string input_;
  std::vector<std::string> progress_;
  ConnectRefusal refusal_;
  std::string remote_;
};

}  // namespace rooster::net
