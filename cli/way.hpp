// Way: how a developer's command reaches a network of apps: through a tunnel of its own, or, on the
// node itself, through the admin socket.
#pragma once

#include "core/loop.hpp"
#include "core/stream.hpp"
#include "core/task.hpp"
#include "core/time.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace rooster::cli {

class Way {
 public:
  /// A line for a person about what happens to it.
  using Tell = std::function<void(std::string_view line)>;

  virtual ~Way() = default;
  /// Waits until somebody answers. Errors: a sentence with what to do next in `detail`.
  virtual Task<> open(Waiter& waiter, TimePoint deadline) = 0;
  /// The same, turning the loop; not inside one of its turns. A way that has to begin anew to get
  /// open can do so here alone.
  virtual Result<> open_now(Loop& loop, Duration patience);
  /// A connection to the node's private API. Errors: as open().
  virtual Task<std::unique_ptr<Stream>> dial_api(Waiter& waiter, TimePoint deadline) = 0;
  /// A connection to the network's DNS server. Errors: as open().
  virtual Task<std::unique_ptr<Stream>> dial_dns(Waiter& waiter, TimePoint deadline) = 0;
  /// What authorises its calls; "" where the way itself does.
  virtual std::string token() const { return {}; }
  /// "the admin socket /run/rooster/admin.sock"
  virtual std::string describe() const = 0;
  /// Why connections through it were lost just now, e.g. "the gateway restarted"; "": not its
  /// doing.
  virtual std::string why_lost() const { return {}; }
  /// When it was last made anew (a tunnel's handshake): what a gateway's restart ended is older.
  /// nullopt: it tells its connections' ends by itself.
  virtual std::optional<WallTime> renewed_at() const { return std::nullopt; }
  /// The machine slept: what it knows of the other side is old.
  virtual void slept() {}
};

/// Through a node's admin socket.
class AdminWay final : public Way {
 public:
  explicit AdminWay(std::string socket_path) : path_(std::move(socket_path)) {}
  Task<> open(Waiter& waiter, TimePoint deadline) override;
  Task<std::unique_ptr<Stream>> dial_api(Waiter& waiter, TimePoint deadline) override;
  Task<std::unique_ptr<Stream>> dial_dns(Waiter& waiter, TimePoint deadline) override;
  std::string describe() const override { return "the admin socket " + path_; }

 private:
  std::string path_;
};

}  // namespace rooster::cli
