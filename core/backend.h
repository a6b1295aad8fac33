// The instruction set: every operation on tensors that training needs, in one page per theme.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/backend_kind.h"
#include "core/device_texts.h"
#include "core/group_losses.h"
#include "core/pooling.h"
#include "core/replay.h"
#include "core/rng.h"
#include "core/tensor.h"

namespace lodestone {

enum class Op : uint8_t { none, transpose };

/// Which elements are dropped: keyed by text, position and element, never by rank or chunk (but: AttentionChoice::cudnn). p == 0: none.
struct Dropout {
  double p = 0;
  Key key;  // already derived with step, layer and place
};

/// Step of AdamW with bias correction and decoupled decay (Loshchilov & Hutter). t counts from 1.
struct AdamWStep {
  double lr = 0, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0, gradient_scale = 1;
  int64_t t = 1;
};

/// Elements of a flat vector that AdamW updates alike.
struct UpdateRun {
  Slice slice;
  bool decays = true;
};

/// One span of every row of a matrix: row i has the columns [first + i stride, first + i stride + width). A vector [n] counts as [n,1].
struct Band {
  int64_t first = 0, stride = 0, width = 1;
};

/// A point in a backend's order of work.
struct Event {
  int64_t number = 0;
};

/// What a backend was asked to bring from one memory to the other since it was made. A view is no copy.
struct Transfers {
  int64_t uploads = 0, downloads = 0;
  int64_t waits = 0;         // calls of synchronize() and wait_for()
  int64_t copied_bytes = 0;  // in either direction
};

class ScratchModel;  // core/scratch_model.h

/// Shapes use the alphabet of core/README.md. `=` sets, `+=` adds into. Activations x, y ... are of the compute dtype
/// (f64, f32 or bf16), all equal in one call; parameters other than a product's weight, statistics (mean, rstd, lse,
/// norms) and gradients of parameters are f64 when the activations are f64, and f32 otherwise. Sums run in that dtype.
/// Every call checks shapes and dtypes and throws Error (internal) naming the operation. Operations are enqueued in the order of their
/// calls: they are done when a call returns on the CPU, and some time later on a device. None allocates after it has seen its shapes once.
/// A *total* is f64 [1], added to unless an operation says that it is set.
class Backend {
 public:
  virtual ~Backend() = default;

  /// "cpu: oneDNN 2.6.3, bf16 products native, avx512" - for the start-up table and logs.
  virtual std::string description() const = 0;
  virtual int threads() const = 0;
  /// Where operands of its operations lie, and what they carry.
  virtual Memory& memory() = 0;
  virtual Device device() const = 0;
  /// Rows of a product are rounded up to this multiple, so that few shapes exist.
  virtual int64_t row_bucket() const = 0;
  /// Whether its operations read DeviceTexts::text_of and DeviceTexts::place.
  virtual bool wants_token_places() const { return false; }
  /// Whether linear() reads biases best in the dtype of y: wide ones it would round at every call.
  virtual bool wants_rounded_biases() const { return false; }
  /// Whether replay() may enqueue without being told again: then it pays to fill batches up to few shapes.
  virtual bool replays() const { return false; }
  /// A model of the memory that it holds beside arenas and buffers, which starts with what it holds now. Unless a backend says otherwise,
  /// that is none.
  virtual std::unique_ptr<ScratchModel> scratch_model() const;

  // ---- place and time -----------------------------------------------------------------------------------------
  /// What `host` holds, where operations can read it: on the CPU a view of it, on a device a copy in `arena`, enqueued. The source must
  /// stay as it is until the scope of `arena` in which this was called ends.
  virtual ConstTensor upload(ConstTensor host, Arena& arena) = 0;
  /// to = host, enqueued; the source must stay as it is until synchronize(), or wait_for() a later event. Same shape and dtype. Nothing to
  /// do where they are one.
  virtual void upload(ConstTensor host, Tensor to) = 0;
  /// What `x` will hold by then, on the host: to be read after synchronize(), or after wait_for() a later event. On the CPU a view, on a
  /// device a copy in `arena`.
  virtual ConstTensor download(ConstTensor x, Arena& arena) = 0;
  /// The same into host memory that is there. Nothing to do where they are one.
  virtual void download(ConstTensor x, Tensor host) = 0;
  /// Returns when all that was enqueued is done.
  virtual void synchronize() = 0;
  /// The point behind all that was enqueued so far.
  virtual Event record() = 0;
  /// Returns when all that stands before the event is done.
  virtual void wait_for(Event event) = 0;
  virtual const Transfers& transfers() const = 0;
  /// operations(), or what it enqueued in a call of the same name. It enqueues operations of this backend and nothing else: it brings
  /// nothing between memories, waits for nothing and records no event, and what it takes from an arena it has given back when it returns.
  virtual void replay(const ReplayName& name, const std::function<void()>& operations);

  // ---- products -----------------------------------------------------------------------------------------------
  /// y = x weight^T + bias.   x [S,K], weight [M,K], bias [M] wide or empty, y [S,M].
  /// x and weight are f64, f32 or bf16 alike; y the same, or f32 for bf16 inputs. The bias may be of y's dtype where the backend wants
  /// that.
  virtual void linear(ConstTensor x, ConstTensor weight, ConstTensor bias, Tensor y) = 0;
  /// c = alpha op(a) op(b) + beta c.   op(a) [M,K], op(b) [K,N], c [M,N]; a and b alike; c the same, or f32 for bf16.
  virtual void gemm(Op op_a, ConstTensor a, Op op_b, ConstTensor b, double alpha, double beta, Tensor c) = 0;
  /// sums += column sums of x.   x [S,M], sums [M].
  virtual void column_sums(ConstTensor x, Tensor sums) = 0;
  /// Gradients of linear()'s parameters: d_weight += dy^T x; d_bias += column sums of dy.   dy [S,M], x [S,K], d_weight [M,K] wide,
  /// d_bias [M] or empty. All S rows count. Here by the two operations above, elsewhere in one pass over dy.
  virtual void linear_gradients(ConstTensor dy, ConstTensor x, Tensor d_weight, Tensor d_bias);

  // ---- embeddings ---------------------------------------------------------------------------------------------
  /// y = word[id] + position[t] + type[k], k = 0 before texts.second and 1 from there on.
  ///   word [V,H], position [P,H], type [.,H], y [S,H].
  virtual void embed_forward(const DeviceTexts& texts, ConstTensor word, ConstTensor position, ConstTensor type, Tensor y) = 0;
  /// d_word[id] += dy, d_position[t] += dy, d_type[k] += dy. Rows are added in a fixed order.
  virtual void embed_backward(const DeviceTexts& texts, ConstTensor dy, Tensor d_word, Tensor d_position, Tensor d_type) = 0;

  // ---- normalisation and dropout ------------------------------------------------------------------------------
  /// y = (x - mean) rstd gamma + beta per row.   x, y [S,H]; gamma, beta [H]; mean, rstd [S].
  virtual void layer_norm_forward(ConstTensor x, ConstTensor gamma, ConstTensor beta, double eps, Tensor y, Tensor mean, Tensor rstd) = 0;
  /// dx = dL/dx, d_gamma +=, d_beta +=. dx may be dy.
  virtual void layer_norm_backward(ConstTensor dy, ConstTensor x, ConstTensor gamma, ConstTensor mean, ConstTensor rstd, Tensor dx,
                                   Tensor d_gamma, Tensor d_beta) = 0;
  /// y = mask(x) / (1 - p'), see dropout_bits(); its own transpose, so backward is the same call. y may be x.
  virtual void dropout(const DeviceTexts& texts, ConstTensor x, Dropout dropout, Tensor y) = 0;
  /// sum = residual + dropout(branch); y = layer_norm(sum), in one pass. All [S,H]. sum may be branch.
  virtual void residual_layer_norm_forward(const DeviceTexts& texts, ConstTensor residual, ConstTensor branch, Dropout dropout,
                                           ConstTensor gamma, ConstTensor beta, double eps, Tensor sum, Tensor y, Tensor mean,
                                           Tensor rstd) = 0;
  /// d_residual = dL/dsum; d_branch = dropout(d_residual); d_gamma +=, d_beta +=. d_residual may be dy.
  virtual void residual_layer_norm_backward(const DeviceTexts& texts, ConstTensor dy, ConstTensor sum, Dropout dropout, ConstTensor gamma,
                                            ConstTensor mean, ConstTensor rstd, Tensor d_residual, Tensor d_branch, Tensor d_gamma,
                                            Tensor d_beta) = 0;

  // ---- activations --------------------------------------------------------------------------------------------
  /// y = x Phi(x), the exact (erf) GELU. Same shapes.
  virtual void gelu_forward(ConstTensor x, Tensor y) = 0;
  /// dx = dy (Phi(x) + x phi(x)). dx may be dy.
  virtual void gelu_backward(ConstTensor x, ConstTensor dy, Tensor dx) = 0;
  /// y = tanh(x); dx = dy (1 - y^2). For dense heads.
  virtual void tanh_forward(ConstTensor x, Tensor y) = 0;
  virtual void tanh_backward(ConstTensor y, ConstTensor dy, Tensor dx) = 0;

  // ---- attention ----------------------------------------------------------------------------------------------
  /// ctx = dropout(softmax(q k^T / sqrt(D))) v per text and head.   qkv [S,3H] (q, k, v side by side, head-major inside),
  /// ctx [S,H], lse [S,A] = log of the softmax denominator, for backward. D = H / heads.
  virtual void attention_forward(const DeviceTexts& texts, ConstTensor qkv, int64_t heads, Dropout dropout, Tensor ctx, Tensor lse) = 0;
  /// d_qkv = dL/dqkv; probabilities are recomputed from qkv and lse.
  virtual void attention_backward(const DeviceTexts& texts, ConstTensor qkv, ConstTensor ctx, ConstTensor lse, ConstTensor d_ctx,
                                  int64_t heads, Dropout dropout, Tensor d_qkv) = 0;

  /// The same for two streams: queries q [S,H] of one, keys and values kv [S,2H] (side by side) of the other. A row sees what its
  /// mask does not hide, and never its own position. A row that sees nothing has ctx 0 and lse 0.
  virtual void masked_attention_forward(const DeviceTexts& texts, const DeviceMasks& masks, ConstTensor q, ConstTensor kv, int64_t heads,
                                        Dropout dropout, Tensor ctx, Tensor lse) = 0;
  /// d_q = dL/dq, d_kv = dL/dkv.
  virtual void masked_attention_backward(const DeviceTexts& texts, const DeviceMasks& masks, ConstTensor q, ConstTensor kv, ConstTensor ctx,
                                         ConstTensor lse, ConstTensor d_ctx, int64_t heads, Dropout dropout, Tensor d_q, Tensor d_kv) = 0;

  // ---- sentence vectors ---------------------------------------------------------------------------------------
  /// y[b] = what stands for text b (core/pooling.h).   x [S,H] in the compute dtype, y [B,H] f32 (f64 for f64).
  virtual void pool_forward(const DeviceTexts& texts, ConstTensor x, Pooling pooling, Tensor y) = 0;
  /// dx = dL/dx (every row of dx is set).
  virtual void pool_backward(const DeviceTexts& texts, ConstTensor dy, Pooling pooling, Tensor dx) = 0;
  /// y = x / max(|x|, 1e-12) per row over the first y.dim(1) columns of x.   x [B,E], y [B,d] with d <= E, norms [B].
  virtual void l2_normalize_forward(ConstTensor x, Tensor y, Tensor norms) = 0;
  /// dx[:, :d] += dL/dx.   dy, y [B,d]; norms [B]; dx [B,E].
  virtual void l2_normalize_backward(ConstTensor dy, ConstTensor y, ConstTensor norms, Tensor dx) = 0;

  // ---- losses -------------------------------------------------------------------------------------------------
  /// lse[i] = log sum_j exp(scale x[i,j]).   x [B,N], lse [B]. Stable.
  virtual void log_sum_exp_rows(ConstTensor x, double scale, Tensor lse) = 0;
  /// x[i,j] = weight exp(scale x[i,j] - lse[i]), in place: the softmax part of a cross-entropy gradient.
  virtual void softmax_rows(Tensor x, double scale, ConstTensor lse, double weight) = 0;

  /// Cross-entropy over columns [first, first + K) of a wider row of logits, tile after tile.   logits [R,K], labels [R] i32,
  /// lse and target [R], all wide. lse[i] = log(exp(lse[i]) + sum_j exp(logits[i,j])), where the tile with first == 0 starts anew;
  /// target[i] = logits[i, labels[i] - first] where the label lies in the tile. Stable. The loss of row i is lse[i] - target[i].
  virtual void cross_entropy_forward(ConstTensor logits, ConstTensor labels, int64_t first, Tensor lse, Tensor target) = 0;
  /// d_logits[i,j] = weight (exp(logits[i,j] - lse[i]) - [labels[i] == first + j]), with the lse of whole rows. d_logits [R,K] is
  /// wide or bf16 and may be logits, which is overwritten in any case.
  virtual void cross_entropy_backward(Tensor logits, ConstTensor labels, int64_t first, ConstTensor lse, double weight,
                                      Tensor d_logits) = 0;
  /// total += sum_i (a[i] - b[i]), in double and in their order.   a, b [R] wide.
  virtual void add_differences(ConstTensor a, ConstTensor b, Tensor total) = 0;

  // ---- matrices of scores: wide, [n,M] ------------------------------------------------------------------------
  /// x = value, and x += value, on the band.
  virtual void fill_band(Tensor x, Band band, double value) = 0;
  virtual void add_to_band(Tensor x, Band band, double value) = 0;
  /// y = the band's elements, and the way back.   y [n,width] f64.
  virtual void read_band(ConstTensor x, Band band, Tensor y) = 0;
  virtual void write_band(ConstTensor y, Band band, Tensor x) = 0;
  /// total += alpha * (the sum of the band's elements, in double and row by row).
  virtual void add_band_sum(ConstTensor x, Band band, double alpha, Tensor total) = 0;
  /// x[i,j] = -infinity for the columns j = columns[offsets[i]] .. columns[offsets[i+1]-1] of each row.   offsets [n+1] i64, columns i32.
  virtual void mask_elements(ConstTensor offsets, ConstTensor columns, Tensor x) = 0;
  /// total[i] = log(exp(total[i]) + exp(part[i])), in double; -infinity is the logarithm of 0.   part, total [n].
  virtual void log_add(ConstTensor part, Tensor total) = 0;
  /// y[i] = exp(a[i] - b[i]), and y[i] = a[i] + log(b[i]).   All [n].
  virtual void exp_difference(ConstTensor a, ConstTensor b, Tensor y) = 0;
  virtual void add_log(ConstTensor a, ConstTensor b, Tensor y) = 0;

  // ---- a query and its own group of passages ------------------------------------------------------------------
  /// scores[i,g] = <rows[i], columns[i G + g]>.   rows [n,E], columns [n*G,E], scores [n,G], all wide.
  virtual void group_products(ConstTensor rows, ConstTensor columns, Tensor scores) = 0;
  /// d_rows[i] += sum_g d_scores[i,g] columns[i G + g]; d_columns[i G + g] += d_scores[i,g] rows[i].
  virtual void group_products_backward(ConstTensor d_scores, ConstTensor rows, ConstTensor columns, Tensor d_rows, Tensor d_columns) = 0;
  /// The same products added up in double, one after the other.   dots [n,G] f64.
  virtual void group_dots(ConstTensor rows, ConstTensor columns, Tensor dots) = 0;
  /// d_rows[i] = sum_g d_dots[i,g] columns[i G + g]; d_columns[i G + g] = d_dots[i,g] rows[i]. Products in the dtype of rows.
  virtual void group_dots_backward(ConstTensor d_dots, ConstTensor rows, ConstTensor columns, Tensor d_rows, Tensor d_columns) = 0;

  /// A loss of each row's group, the positive in column 0: core/group_losses.h. scores, d_scores and, where the loss reads it, teacher
  /// (else empty) [n,G], all f64. total += weight * the sum of the rows' losses, d_scores += weight * its gradient.
  virtual void group_loss(const GroupLoss& loss, ConstTensor scores, ConstTensor teacher, double weight, Tensor d_scores, Tensor total) = 0;
  /// Stabilised distillation: group_cascade() there, row by row. scores [n,G] f64; order [n,G] i64: places in the group, best first;
  /// log_weights [n,G] f64, in the order of the group; others [n] wide: log sum exp over all other candidates in, the normaliser of their
  /// gradient out. d_scores is set, unweighted.
  virtual void group_cascade(ConstTensor scores, ConstTensor order, ConstTensor log_weights, Tensor others, Tensor d_scores,
                             Tensor total) = 0;

  /// CoSENT over all N scored pairs, `own` of them the caller's: core/cosent.h. cosines, gold [N] f64; order [N] i64: by rising gold.
  /// d_cosines [own] f64 = weight * the gradient there; total += weight * loss * (the caller's part of the pairs). work [3,N] f64 is
  /// overwritten.
  virtual void cosent(ConstTensor cosines, ConstTensor gold, ConstTensor order, double temperature, double weight, Slice own, Tensor work,
                      Tensor d_cosines, Tensor total) = 0;

  // ---- rows ---------------------------------------------------------------------------------------------------
  /// y[i] = x[places[i]].   x [S,K], y [R,K] of the same dtype, places [R] i64 below S.
  virtual void select_rows(ConstTensor x, ConstTensor places, Tensor y) = 0;
  /// y[places[i]] = x[i]; other rows of y stay.   x [R,K], y [S,K], places [R] i64, all different.
  virtual void place_rows(ConstTensor x, ConstTensor places, Tensor y) = 0;

  // ---- whole vectors ------------------------------------------------------------------------------------------
  /// Master parameters p, gradients g, moments m, v: flat [n], f32 (f64 for f64). g is multiplied by gradient_scale first. `runs` are
  /// sorted and disjoint, and other elements are left alone; weight_decay is for those that decay.
  virtual void adamw(const AdamWStep& step, const std::vector<UpdateRun>& runs, ConstTensor g, Tensor p, Tensor m, Tensor v) = 0;
  /// total = sum of squares in double (set, not added to), in a fixed order for a given length. x f32 or f64.
  virtual void sum_squares(ConstTensor x, Tensor total) = 0;
  /// y = x converted to y's dtype (f64, f32, bf16 in any combination).
  virtual void cast(ConstTensor x, Tensor y) = 0;
  /// y += alpha x. Same dtype (f64, f32, bf16).
  virtual void axpy(double alpha, ConstTensor x, Tensor y) = 0;
  /// y = alpha x. f64 or f32. y may be x.
  virtual void scale(double alpha, ConstTensor x, Tensor y) = 0;
  virtual void fill_zero(Tensor x) = 0;
  virtual void copy(ConstTensor x, Tensor y) = 0;
};

/// Uploads what a host batch holds, checked once: texts that cover their tokens, ids that are not negative, beginnings of
/// type 1 inside their texts; masks that lie in their bits. Throws Error (internal) where something else is handed over.
DeviceTexts upload_texts(Backend& backend, Arena& arena, const TokenBatch& tokens);
DeviceMasks upload_masks(Backend& backend, Arena& arena, const TokenBatch& tokens, const KeyMasks& masks);

/// Downloads `x` and waits: its elements on the host, valid as long as the innermost scope of `arena`.
template <class T>
std::span<const T> fetch(Backend& backend, Arena& arena, ConstTensor x) {
  const ConstTensor host = backend.download(x, arena);
  backend.synchronize();
  return host.host<T>();
}

struct BackendOptions {
  BackendKind kind = BackendKind::cpu;
  int threads = 1;                                         // of the kinds that have any
  int gpu = 0;                                             // which of those that this process sees
  AttentionChoice attention = AttentionChoice::automatic;  // of the kind cuda
  Launches launches = Launches::single;                    // of the kinds cuda and debug
};

std::unique_ptr<Backend> make_backend(const BackendOptions& options);

}  // namespace lodestone
