// Kernels that break the bars of bars.py, each in its own way, and one that keeps them: bars_test.py.

/// Copies 128 bits at once.
__global__ void sound(const float4* x, float4* y) { y[threadIdx.x] = x[threadIdx.x]; }

/// Copies one float after the other.
__global__ void narrow(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x]; }

/// Has more values at once than the 32 registers that its bounds leave it.
__global__ void __launch_bounds__(1024, 2) spilling(const float* x, float* y) {
  float at[64];
#pragma unroll
  for (int i = 0; i < 64; ++i) at[i] = x[i * 1024 + threadIdx.x];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 64; ++i) y[i * 1024 + threadIdx.x] = at[63 - i] * at[i];
}

/// Has no row.
__global__ void unknown(float* y) { y[threadIdx.x] = 0; }
