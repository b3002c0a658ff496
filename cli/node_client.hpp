// The command line's way to a node: finds its admin socket, asks, reads JSON.
#pragma once

#include "core/error.hpp"
#include "net/http_client.hpp"

#include <boost/json/value.hpp>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rooster::cli {

/// Where the node's admin API is: the admin socket of `config_file` if one was given, else
/// `environment`
/// ($ROOSTER_ADMIN), else /run/rooster/admin.sock. Errors: the file can't be read or is broken.
Result<net::HttpAddress> find_admin(const std::string& config_file, const char* environment);

using QueryArguments = std::vector<std::pair<std::string, std::string>>;

/// `path` with what of `query` isn't empty.
std::string with_query(std::string_view path, const QueryArguments& query);

class NodeClient {
 public:
  explicit NodeClient(net::HttpAddress address) : address_(std::move(address)) {}

  /// The answer's JSON, of any status below 500 that has a body of ours. Errors: nobody answers, or
  /// what the node said in "error".
  Result<boost::json::value> get(std::string_view path, const QueryArguments& query = {}) const;
  Result<boost::json::value> post(std::string_view path, const QueryArguments& query = {},
                                  std::string body = {}) const;
  /// The array `key` of all pages of a list.
  Result<boost::json::array> get_all(std::string_view path, std::string_view key,
                                     QueryArguments query = {}) const;
  /// Each line as it comes, until `line` returns false.
  Result<> stream(std::string_view path, const QueryArguments& query,
                  const std::function<bool(std::string_view)>& line) const;

 private:
  Result<boost::json::value> ask(std::string method, std::string_view path,
                                 const QueryArguments& query, std::string body = {}) const;
  net::HttpAddress address_;
};

/// A member as text: a string as it is, a number in digits, "" where there is none.
std::string text_at(const boost::json::value& object, std::string_view key);
/// A member that is an array, else an empty one.
const boost::json::array& array_at(const boost::json::value& object, std::string_view key);
bool is_true(const boost::json::value& object, std::string_view key);

}  // namespace rooster::cli
